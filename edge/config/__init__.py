"""How new settings reach a gateway that runs: read again, sent from afar, tried, kept."""
