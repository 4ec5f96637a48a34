"""Models over labelled frames: candidates, evaluation, bundles, reasons, scorecards."""
