"""Sparse autoencoders: dictionaries whose few active features rebuild an activation, trained here or published."""
