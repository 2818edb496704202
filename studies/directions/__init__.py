"""Which of the survey's directions pays, when, and how much (arXiv 2603.18126, section IV)?

    python -m studies.directions [PAGE [FIGURE]]

A step of four neural wave functions on four molecules, against the survey's RTX A5000 alone. For each direction what the survey asks for:
time and energy by molecule, what moving data takes, from which link on PIM pays, when switching modes pays, what attention alone could
give, and what offloading costs by distance, link and kind of memory. All of it is modelled, and none of the added hardware exists.
"""
