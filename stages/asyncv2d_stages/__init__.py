"""The stages that ship with asyncv2d."""
