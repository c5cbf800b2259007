"""How each provider describes its scenes, one module a provider."""
