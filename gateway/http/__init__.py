"""HTTP: the only package that imports aiohttp. Turns requests into operations and results into responses."""
