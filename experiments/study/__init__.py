"""What is about our own data sets in the study, `confseg study`: drawn scenes, and the page docs/study.md."""
