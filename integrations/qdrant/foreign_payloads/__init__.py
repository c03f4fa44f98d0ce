"""How other programs lay texts and metadata into the payloads of their points."""
