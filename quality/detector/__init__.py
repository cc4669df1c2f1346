"""Judges daily observations of many streams together: which cell (measure, window) is strange, and how strange.

Pure numbers: no database, no pandas. `panel` says what goes in, `engine.judge` what comes out. Importing loads numpy
only; scikit-learn is imported by the function that fits.
"""
