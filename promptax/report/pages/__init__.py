"""Pages: one self-contained HTML file for a run or a study."""
