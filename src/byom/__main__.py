"""``python -m byom`` is the program ``byom``."""

from byom.cli.main import main

if __name__ == "__main__":
    main()
