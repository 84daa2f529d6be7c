"""Configurations of gateways: signed by whoever holds the key, sent by the service."""
