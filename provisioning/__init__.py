"""The technician's tool: identities of a deployment, and what a bus capture says.

Neither gateway nor head end imports it; they read the files that it writes.
"""
