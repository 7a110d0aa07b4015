"""Local durability: change log, data segments, derived index. See gateway/DESIGN.md."""
