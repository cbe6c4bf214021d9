import torch

from skvae._engine.flat import side_by_side


def test_views_have_the_shapes_and_share_the_memory():
    tensors = [torch.ones(3, 5), torch.ones(()), torch.ones(17), torch.ones(0, 4)]
    flat, views = side_by_side(tensors)
    assert [view.shape for view in views] == [t.shape for t in tensors]
    for view in views:
        view.fill_(1.0)
    assert flat.sum().item() == 15 + 1 + 17
    assert flat.dtype == tensors[0].dtype


def test_views_do_not_overlap():
    flat, views = side_by_side([torch.ones(3), torch.ones(2, 2), torch.ones(40)])
    for number, view in enumerate(views, start=1):
        view.fill_(number)
    assert [view.unique().tolist() for view in views] == [[1.0], [2.0], [3.0]]
    assert flat.sum().item() == 3 + 2 * 4 + 3 * 40
