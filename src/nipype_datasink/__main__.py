"""Run the command ``nipype-datasink`` as ``python -m nipype_datasink``."""

from nipype_datasink.cli import main

if __name__ == "__main__":
    main(prog_name="python -m nipype_datasink")
