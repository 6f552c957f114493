"""Isthmus: crypto and open banking under one roof, behind GraphQL."""
