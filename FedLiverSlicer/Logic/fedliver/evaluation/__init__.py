"""How good a segmentation is, and how that is shown: metrics, figures, the HTML report."""
