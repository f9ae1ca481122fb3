"""The developer's server that knows names: a question to a signed request and an answer to a profile (wire, pure);
and what of it is remembered, or left unasked (lookup)."""
