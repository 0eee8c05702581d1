"""What the grids in sample/ show: their shape, and which classes and real pictures."""
import numpy as np


def grid_shape(max_size, labels=0):
    """(columns, rows) of the sample grid: about a thousand pixels wide, with a row for each label
    where these are not too many."""
    columns = min(16, max(4, 1024 // max_size))
    return columns, labels if 2 <= labels <= columns else max(2, columns // 2)


def row_classes(labels, rows):
    """The class of each row of the grid, int [rows], evenly over all; empty without labels."""
    return np.arange(rows if labels else 0) * labels // rows


def real_files(folder, seed, count, classes):
    """So many pictures for a grid, of these classes where there are some, int [count]."""
    if not len(classes):
        return folder.files(range(count), seed)
    order, found = np.array(folder.indices(range(len(folder)), seed)), []
    for i, kind in enumerate(classes):
        some = order[folder.labels[order] == kind]
        some = some if len(some) else order             # a class without pictures
        found.append(folder.file(int(some[i % len(some)])))
    return found
