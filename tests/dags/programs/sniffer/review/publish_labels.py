import sys

from support.stand_in_program import run

if __name__ == "__main__":
    sys.exit(run("publish", "--result"))
