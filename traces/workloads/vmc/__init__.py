"""Variational Monte Carlo of our own, in plain JAX: layers, ansätze, samplers, Laplacians, the local energy and its gradient.

Every ansatz is a function of one walker; walkers are the one vmapped axis. What depends on the molecule alone is not vmapped.
"""
