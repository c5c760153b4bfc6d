"""Coarser visual meshes: software rendering costs by the triangle, and LIBERO's scanned objects have 15,000 each.

Vertices are clustered on a grid (Rossignac and Borrel, "Multi-resolution 3D approximations for rendering complex
scenes", 1993): those of one cell move to the one nearest their mean, and triangles that collapse are left out.
"""

import copy

import mujoco
import numpy as np

_SMALL_MESH = 200
"""Meshes with fewer triangles are left as they are."""


def simplify_meshes(model: mujoco.MjModel, detail: float) -> mujoco.MjModel:
    """A copy of ``model`` whose meshes have no details smaller than ``detail`` (m).

    For rendering only: the tree that ray casting and contacts use still belongs to the fine meshes.
    """
    coarse = copy.deepcopy(model)
    for mesh in range(model.nmesh):
        start, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        if count < _SMALL_MESH:
            continue
        first = model.mesh_vertadr[mesh]
        vertices = model.mesh_vert[first : first + model.mesh_vertnum[mesh]]
        faces = _representatives(vertices, detail)[model.mesh_face[start : start + count]]
        kept = _proper_faces(faces)
        end = start + len(kept)
        coarse.mesh_face[start:end] = faces[kept]
        coarse.mesh_facenormal[start:end] = model.mesh_facenormal[start : start + count][kept]
        coarse.mesh_facetexcoord[start:end] = model.mesh_facetexcoord[start : start + count][kept]
        coarse.mesh_facenum[mesh] = len(kept)
    return coarse


def _representatives(vertices: np.ndarray, detail: float) -> np.ndarray:
    """For each vertex ``(n, 3)`` the index of the one that stands for all in its grid cell, ``(n,)``."""
    _, cell = np.unique(np.floor(vertices / detail).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.ravel()
    means = np.stack([np.bincount(cell, weights=axis) for axis in vertices.T], axis=1) / np.bincount(cell)[:, None]
    order = np.lexsort((np.square(vertices - means[cell]).sum(axis=1), cell))
    nearest = order[np.r_[True, np.diff(cell[order]) > 0]]
    return nearest[cell]


def _proper_faces(faces: np.ndarray) -> np.ndarray:
    """Indices of the triangles ``(m, 3)`` that have three different corners and are no repetition of another."""
    corners = np.sort(faces, axis=1)
    proper = np.flatnonzero((np.diff(corners, axis=1) > 0).all(axis=1))
    _, first = np.unique(corners[proper], axis=0, return_index=True)
    return np.sort(proper[first])
