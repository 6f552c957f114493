"""What compliance decides by: lists and limits as data files, and the counts that are quick."""
