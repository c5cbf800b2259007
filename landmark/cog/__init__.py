"""Cloud-optimised GeoTIFFs by their blocks: header once, ranges merged, each block decoded once.

The way of the data: `headers` (bytes to tags), `layouts` (tags to what may be read here, or the
reason why GDAL has to), `blocks` (windows to blocks, and where their pixels go), `ranges` (blocks
to few reads), `files` and `client` (reads to bytes), `decoding` (bytes to pixels). `engine` runs
it.
"""
