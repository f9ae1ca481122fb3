"""Strict stand-ins for MIMC, APNs and Mi Push. They share no code with what they test: it would share its mistakes."""
