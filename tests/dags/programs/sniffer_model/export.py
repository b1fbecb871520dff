import sys

from sniffer_model.stand_in import run

if __name__ == "__main__":
    sys.exit(run("export"))
