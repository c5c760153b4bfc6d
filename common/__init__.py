"""What every command shares: how it starts, its errors, atomic files, the choice of GL and of cores."""
