"""Tools that write the documents and graphs, keep results, and test what a killed run ends with."""
