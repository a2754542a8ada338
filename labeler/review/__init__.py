"""The web application: the page on which people look at images and say what they are."""
