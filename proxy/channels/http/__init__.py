"""The developer's own sender: alerts to signed requests and answers to outcomes (wire); pure."""
