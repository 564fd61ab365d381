"""What a run leaves behind: the `Run`, its folder, plots and reports."""
