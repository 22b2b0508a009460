"""`make demo`: the conversation that Jobcast was made for, played in the terminal."""
