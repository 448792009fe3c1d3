"""Draws the extension's icon: ``python docs/images/draw_icon.py`` writes FedLiverSlicer/Resources/Icons/FedLiverSlicer.png.

A liver in its terminology's colour with a tumour in its own, and three sites joined around it.
"""

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QGuiApplication, QImage, QLinearGradient, QPainter, QPainterPath, QPen

SIZE = 256
TARGET = Path(__file__).resolve().parents[2] / "FedLiverSlicer" / "Resources" / "Icons" / "FedLiverSlicer.png"


def liver() -> QPainterPath:
    """A liver as seen from the front, on a square of side 100."""
    path = QPainterPath(QPointF(15, 44))
    path.cubicTo(14, 28, 28, 21, 44, 23)
    path.cubicTo(58, 25, 72, 30, 87, 33)
    path.cubicTo(92, 35, 90, 41, 84, 44)
    path.cubicTo(72, 50, 62, 53, 54, 60)
    path.cubicTo(47, 67, 42, 77, 32, 79)
    path.cubicTo(20, 80, 15, 62, 15, 44)
    return path


def draw() -> QImage:
    image = QImage(SIZE, SIZE, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(SIZE / 100, SIZE / 100)
    ground = QLinearGradient(0, 0, 0, 100)
    ground.setColorAt(0, QColor(38, 66, 92))
    ground.setColorAt(1, QColor(22, 38, 56))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QBrush(ground))
    painter.drawRoundedRect(QRectF(2, 2, 96, 96), 18, 18)
    sites = [QPointF(16, 16), QPointF(84, 15), QPointF(79, 84)]
    painter.setPen(QPen(QColor(150, 200, 235), 2.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    for first, second in ((0, 1), (1, 2), (2, 0)):
        painter.drawLine(sites[first], sites[second])
    painter.setPen(QPen(QColor(120, 58, 40), 2.0))
    painter.setBrush(QColor(221, 130, 101))
    painter.drawPath(liver())
    painter.setPen(QPen(QColor(70, 140, 70), 1.6))
    painter.setBrush(QColor(144, 238, 144))
    painter.drawEllipse(QPointF(35, 48), 9, 8)
    painter.setPen(QPen(QColor(22, 38, 56), 1.5))
    painter.setBrush(QColor(235, 246, 255))
    for site in sites:
        painter.drawEllipse(site, 7.5, 7.5)
    painter.end()
    return image


if __name__ == "__main__":
    application = QGuiApplication([])
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    draw().scaled(128, 128, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation).save(str(TARGET))
    print(TARGET)
