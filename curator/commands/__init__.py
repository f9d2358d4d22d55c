"""The commands, a file a door; `curator.cli` says which name opens which."""
