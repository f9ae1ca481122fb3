"""Strict stand-ins for MIMC, APNs, Mi Push and a developer's own sender.

They share no code with what they test: it would share its mistakes.
"""
