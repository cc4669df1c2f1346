"""Measurements of the whole product, each beside something plain in the same run: machines differ, ratios less so."""
