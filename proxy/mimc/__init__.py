"""MIMC's side: the callbacks that it posts and who may post them, and its TokenService."""
