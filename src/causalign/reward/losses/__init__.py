"""Losses of reward models, one file each, as functions of torch tensors; only fits import them.

The last axis of every argument is the rows of a batch; axes before it, such as the members of an
ensemble, are kept, so that a loss ``(...,)`` comes out for each member.
"""
