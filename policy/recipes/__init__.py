"""How forward and inverse dynamics are trained: their recipes, configurations, and what both prepare."""
