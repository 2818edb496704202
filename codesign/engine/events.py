from codesign.engine.program import Program, Run
def run(program: Program, *, step_over: bool, record: bool) -> Run:
    raise NotImplementedError
