"""Every private name of nnsight, diffusers, accelerate and torch that ditscope uses, behind a plain one.

Nothing else may reach such a name: the tests look each of them up in the installed versions, so that an upgrade that
takes one away fails there and says which.
"""
