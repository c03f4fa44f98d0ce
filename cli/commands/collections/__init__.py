"""The commands for collections."""
