"""Protections: facts about a message, and the stages that change them."""
