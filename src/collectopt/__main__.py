"""``python -m collectopt`` is the command line."""

from collectopt.jobs.cli import main

if __name__ == "__main__":
    main()
