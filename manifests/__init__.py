"""Built-in manifests (YAML) and crosswalks (CSV), shipped as package data."""
