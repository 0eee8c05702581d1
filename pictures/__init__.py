"""What generators paint: styles, figures, films, files that say how they were made."""
