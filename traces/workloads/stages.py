"""Which stage of a wave function a kernel belongs to, told from the path of named scopes (op_name) it came from.

Stages are the survey's: A features, B interaction, C orbitals, D determinants, E derivatives and local energy; what the
Markov chain adds (random numbers, proposal, acceptance, statistics) is called sampler. A kernel keeps one op_name, that of
its root instruction, so at a border between stages the attribution is approximate.

A to D are one evaluation of log|psi|, wherever it happens: in a Markov step, or as the primal part of the gradient that the
local energy linearises. E is what only derivatives need: every backward pass (``transpose``), all of the loop over electron
coordinates, and the potential and sums that make the local energy. The forward Laplacian carries value, Jacobian
and Laplacian through each operation together: under it A to D hold all three (``vmc.staged_forward`` keeps the names folx would lose).
"""

from traces.workloads.workload import StageRules

SAMPLER = "sampler"

REST: StageRules = (
    ("E", r"phase_(laplacian|gradient)"),
    (SAMPLER, r"phase_sampling"),
    ("optimizer", r"phase_optimizer"),
)
"""What is left of each phase when no part of the wave function fits."""

DEEPQMC_STAGES: StageRules = (
    ("E", r"phase_laplacian/(?!forward/).*while/body/"),
    ("E", r"transpose\("),
    ("A", r"/(edge_factory|node_factory|electron_embedding)"),
    ("B", r"/electron_gnn"),
    ("C", r"/(omni_net|_backflow_op|exponential_envelopes|electronic_cusp)"),
    ("D", r"neural_network_wave_function"),
    *REST,
)
"""For deepqmc's module names (haiku scopes). Jastrow and backflow are C: they read the electrons' embeddings out."""
