"""Adapters to coordination stores: one file each, unaware of each other, behind one small port."""
