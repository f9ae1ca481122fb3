"""Mi Push: jobs to requests and answers to outcomes (wire, pure), its codes, its templates, and receipts."""
