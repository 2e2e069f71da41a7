"""Recipes and templates: read, checked, and as they hold for one release of Istio. Knows no request."""
