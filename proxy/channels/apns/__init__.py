"""APNs: jobs to requests and answers to outcomes (wire, pure), and the provider token."""
